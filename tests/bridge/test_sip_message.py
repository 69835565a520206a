"""SIP messages, SDP, digest and session timers by themselves."""

from __future__ import annotations

import pytest

from rtsr.bridge.sip.digest import Authenticator, credentials, params_of, proof
from rtsr.bridge.sip.fields import NameAddress, Uri
from rtsr.bridge.sip.message import LONGEST, Request, Response, answer, parse, received_from
from rtsr.bridge.sip.sdp import Description, choose, read
from rtsr.bridge.sip.session_timer import Interval, TooShort, asked, granted, taken
from rtsr.bridge.sip.settings import SipSettings, read_tables
from rtsr.errors import InvalidSetting
from tests.fuzzed import CORPUS

INVITE = (CORPUS / "sip" / "invite").read_bytes()


def test_what_is_written_is_read():
    request = parse(INVITE)
    assert isinstance(request, Request)
    assert request.uri == Uri("sip", "desk", "127.0.0.1", 5060)
    assert (request.via.branch, request.via.transport, len(request.all("via"))) == ("z9hG4bK-1", "udp", 2)
    assert (request.sender.name, request.sender.tag, request.sender.uri.number) == ('A "B" <c>', "1x1", "alice")
    assert (request.call_id, request.sequence, request.recipient.tag) == ("1-2@127.0.0.1", (1, "INVITE"), "")
    assert request.contact.uri.place == ("127.0.0.1", 5070)
    assert request.get("subject") == "folded line"
    assert [str(NameAddress.read(value)) for value in request.all("record-route")] == [
        "<sip:127.0.0.1;lr;ftag=1x1>",
        "<sip:10.0.0.1;lr>",
    ]
    noted = received_from(request, ("192.0.2.9", 77))
    assert noted.via.params == {"branch": "z9hG4bK-1", "rport": "77", "received": "192.0.2.9"}
    assert noted.all("via")[1] == request.all("via")[1]
    response = parse(answer(noted, 200, body=b"v=0", tag="ours").write())
    assert isinstance(response, Response)
    assert (response.status, response.recipient.tag, response.body) == (200, "ours", b"v=0")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"SIP/2.0\r\nVia", b"SIP/3.0\r\nVia"),
        (b"CSeq: 1 INVITE", b"CSeq: 1 BYE"),
        (b"CSeq: 1 INVITE", b"CSeq: " + b"9" * 5_000 + b" INVITE"),
        (b"CSeq: 1 INVITE", b"CSeq: \xb2 INVITE"),
        (b";tag=1x1", b""),
        (b"branch=z9hG4bK-1;", b""),
        (b":5070;branch", b":99999;branch"),
        (b"Max-Forwards", b"Content-Length: 99999\r\nMax-Forwards"),
        (b"Max-Forwards", b"Content-Length: -1\r\nMax-Forwards"),
        (b"Max-Forwards", b"X: a\rb\r\nMax-Forwards"),
        (b"Max-Forwards", b"X: 1\r\n" * 200 + b"Max-Forwards"),
        (b"Max-Forwards", b"X: " + b"a" * LONGEST + b"\r\nMax-Forwards"),
        (b"<sip:alice@127.0.0.1:5070;transport=udp>", b"<http://a>"),
    ],
)
def test_what_is_no_message_is_refused(old: bytes, new: bytes):
    assert old in INVITE
    assert parse(INVITE.replace(old, new)) is None


def test_the_first_codec_of_the_offer_is_taken_and_other_sections_are_refused():
    sections = read(parse(INVITE).body)
    voice = choose(sections, ("pcmu", "opus"))
    assert (voice.types.codec, voice.types.audio, voice.index, voice.direction) == ("opus", 96, 1, "sendonly")
    assert not voice.peer_listens
    assert voice.crypto.suite == "AES_CM_128_HMAC_SHA1_80"
    description = Description(("192.0.2.2", 4_000), 20, 1, voice.crypto.answer())
    first, second = read(description.answer(sections, voice))
    assert (first.kind, first.port) == ("video", 0)
    assert (second.port, second.protocol, second.direction, second.host) == (4_000, "RTP/SAVP", "recvonly", "192.0.2.2")
    assert choose([second], ("opus",)).types.codec == "opus"
    told = b"a=record:on" in description.answer(sections, voice)
    description.recorded = True
    assert (told, b"a=record:on\r\n" in description.answer(sections, voice)) == (False, True)
    assert choose(sections, ("pcmu",)).types.events == 101
    with pytest.raises(InvalidSetting, match="l16"):
        choose(sections, ("l16",))


def test_hold_as_it_was_before_rfc_3264():
    (section,) = read(b"v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 6000 RTP/AVP 0\r\n")
    assert section.direction == "sendonly"


@pytest.mark.parametrize("algorithms", [("MD5",), ("SHA-256",), ("MD5", "SHA-256")])
def test_a_password_is_proven_once_and_in_time(algorithms: tuple[str, ...]):
    now_s = 1_000.0
    authenticator = Authenticator("r", {"alice": "secret"}, algorithms, lambda: now_s)
    request = parse(INVITE)

    def asking(user: str, password: str) -> Request:
        response = answer(request, 401, authenticator.challenges())
        header = credentials(response, "INVITE", "sip:desk@x", user, password)
        assert params_of(header[1])["algorithm"] == algorithms[-1]
        return request.with_headers([*request.headers, header])

    right = asking("alice", "secret")
    assert authenticator.user_of(right) == ("alice", False)
    assert authenticator.user_of(right) == (None, True), "the same credentials a second time"
    assert authenticator.user_of(asking("alice", "Secret")) == (None, False)
    assert authenticator.user_of(asking("bob", "secret")) == (None, False)
    later = asking("alice", "secret")
    now_s += 301
    assert authenticator.user_of(later) == (None, True)
    assert Authenticator("r", {"alice": "secret"}, algorithms).user_of(asking("alice", "secret")) == (None, True)


def test_the_example_of_rfc_2617():
    given = {"username": "Mufasa", "realm": "testrealm@host.com", "nonce": "dcd98b7102dd2f0e8b11d0f600bfb0c093"}
    given |= {"uri": "/dir/index.html", "qop": "auth", "nc": "00000001", "cnonce": "0a4f113b"}
    assert proof("Circle Of Life", "GET", given) == "6629fae49393a05397450978507c4ef1"


@pytest.mark.parametrize(
    ("status", "asks", "answers"),
    [(401, "www-authenticate", "authorization"), (407, "proxy-authenticate", "proxy-authorization")],
)
def test_a_challenge_is_answered_as_far_as_it_can_be(status, asks, answers):
    def answered(*challenges: str) -> dict[str, str] | None:
        other = ("proxy-authenticate" if status == 401 else "www-authenticate", 'Digest realm="other", nonce="o"')
        response = Response([other, *((asks, text) for text in challenges)], status=status)
        header = credentials(response, "INVITE", "sip:x", "u", "p")
        assert header is None or header[0] == answers
        return header and params_of(header[1])

    plain = {"username": "u", "realm": "r", "nonce": "n", "uri": "sip:x"}
    assert answered('Digest realm="r", nonce="n"') == plain | {"response": proof("p", "INVITE", plain)}
    given = answered('Digest realm="r", nonce="n", qop="auth-int, Auth", opaque="q", algorithm=sha-256')
    assert (given.pop("opaque"), given["nc"], len(given["cnonce"])) == ("q", "00000001", 16)
    assert given.pop("response") == proof("p", "INVITE", given)
    md5, sha = (f'Digest realm="{name}", nonce="n", algorithm={name}' for name in ("MD5", "SHA-256"))
    assert answered(md5, sha)["realm"] == "SHA-256"
    for wrong in (md5.replace("MD5", "MD4"), md5.replace('"n"', '""'), 'Digest nonce="n", qop="auth-int"', "Basic r=a"):
        assert answered(wrong) is None
    assert answered('Digest nonce="n", qop="auth-int"', md5)["realm"] == "MD5"


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("nc=00000001", "nc=0000000A", ("alice", False)),
        ("nc=00000001", "nc=1", (None, False)),
        ('realm="r"', 'realm="s"', (None, False)),
        ("qop=auth", "qop=auth-int", (None, False)),
        ("algorithm=MD5", "algorithm=SHA-256", (None, False)),
        ('username="alice"', 'username="bob"', (None, False)),
        ("Digest", "Basic", (None, False)),
    ],
)
def test_credentials_are_those_that_were_asked_for(old, new, found):
    """Changed after they were made; a count that is no such number fits no proof."""
    authenticator, request = Authenticator("r", {"alice": "secret"}, ("MD5",)), parse(INVITE)
    name, text = credentials(answer(request, 401, authenticator.challenges()), "INVITE", "sip:x", "alice", "secret")
    assert old in text
    given = params_of(text.replace(old, new))
    if given and found[0]:
        text = text.replace(given["response"], proof("secret", "INVITE", given))
    changed = request.with_headers([*request.headers, (name, text.replace(old, new))])
    assert authenticator.user_of(changed) == found


def with_timer(value: str, more: bytes = b"") -> Request:
    return parse(INVITE.replace(b"x: 1800;refresher=uac", b"x: " + value.encode() + more))


def test_session_timers():
    interval, headers = taken(parse(INVITE), 3_600)
    assert (interval, dict(headers)["session-expires"]) == (Interval(1_800, False), "1800;refresher=uac")
    assert interval.act_s == 1_768
    assert taken(with_timer("600;refresher=uas"), 300)[0] == Interval(300, True)
    with pytest.raises(TooShort):
        taken(with_timer("30"), 300)
    plain = parse(INVITE.replace(b"Supported: timer, 100rel\r\nx: 1800;refresher=uac\r\n", b""))
    interval, headers = taken(plain, 300)
    assert (interval, dict(headers)) == (Interval(300, True), {"session-expires": "300;refresher=uas"})
    assert granted(Response([("session-expires", "120;refresher=uas")]), 300) == Interval(120, False)
    assert granted(Response(), 300) == Interval(300, True)


def test_intervals_are_within_what_both_ends_take():
    assert [Interval(seconds, ours).act_s for seconds, ours in ((300, True), (90, False))] == [150, 60]
    assert asked(300) == [("session-expires", "300"), ("min-se", "90")]
    for text, seconds in (("90", 90), ("600", 300), ("x", 300), ("1" * 10, 300), ("\u00b2", 300)):
        assert taken(with_timer(text), 300)[0] == Interval(seconds, False)
    for least, seconds in ((b"500", 500), (b"999999", 86_400), (b"100;a=b", 300)):
        assert taken(with_timer("600", b"\r\nMin-SE: " + least), 300)[0].seconds == seconds
    plain = INVITE.replace(b"Supported: timer, 100rel\r\n", b"").replace(b"x: 1800;refresher=uac", b"x: 30")
    assert taken(parse(plain), 300)[0] == Interval(90, True)
    for text, seconds in (("89", 90), ("90", 90), ("86401", 86_400), ("1" * 10, 300)):
        assert granted(Response([("session-expires", text)]), 300) == Interval(seconds, True)


def test_numbers_find_rooms():
    settings = SipSettings(rooms={"7(..)": r"desk-\1", "9.*": "bad room", "x(y)?": r"\1"})
    rooms = {"712": "desk-12", "7123": None, "9": None, "x": None, "7" * 99: None}
    assert {number: settings.room_of(number) for number in rooms} == rooms
    assert SipSettings().room_of("desk") == "desk"
    assert SipSettings().room_of("../etc") is None


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"liste": "x"}, "no setting named 'liste'"),
        ({"listen": "0.0.0.0:5060"}, "sources, proxies, accounts or a server"),
        ({"listen": "localhost:5060"}, "numeric address"),
        ({"transport": "sctp"}, "udp, tcp, tls"),
        ({"transport": "tls"}, "tls_cert and tls_key"),
        ({"codecs": ["g729"]}, "g729"),
        ({"digest": ["MD4"]}, "MD4"),
        ({"accounts": {"a": ""}}, "password"),
        ({"accounts": {"a": 1}}, "accounts"),
        ({"server": "pbx"}, "sip:HOST"),
        ({"register": True}, "server and a username"),
        ({"rooms": {"(": "a"}}, "no regular expression"),
        ({"session_s": 30}, "session_s"),
        ({"sources": ["x"]}, "sources"),
    ],
)
def test_tables_that_cannot_be(table: dict, said: str):
    with pytest.raises(InvalidSetting, match=said):
        read_tables([table])
    with pytest.raises(InvalidSetting, match="different names"):
        read_tables([{}, {}])
