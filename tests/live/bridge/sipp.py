"""sipp as telephones: scenarios made of steps, and a run of one."""

from __future__ import annotations

import asyncio
import shutil
import socket
from pathlib import Path

from tests.speech import missing

CODECS = {"PCMU": (0, "PCMU/8000"), "PCMA": (8, "PCMA/8000"), "G722": (9, "G722/8000")}
HEAD = """Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport
From: "Desk" <sip:alice@[local_ip]:[local_port]>;tag=[pid]x[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
Contact: <sip:alice@[local_ip]:[local_port];transport=[transport]>
Max-Forwards: 70
Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE
"""


def free_port(kind: int = socket.SOCK_DGRAM) -> int:
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def sdp(codecs: str = "PCMU", direction: str = "sendrecv", media: str = "[rtpstream_audio_port]") -> str:
    """An offer or answer of some codecs, in order."""
    rows = [CODECS[name] for name in codecs.split()]
    lines = ["v=0", "o=a 1 1 IN IP4 [local_ip]", "s=-", "c=IN IP4 [media_ip]", "t=0 0"]
    lines += [f"m=audio {media} RTP/AVP {' '.join(str(kind) for kind, _ in rows)}"]
    lines += [f"a=rtpmap:{kind} {name}" for kind, name in rows]
    return "\n".join([*lines, f"a={direction}", ""])


def send(method: str, number: int, body: str = "", more: str = "", ack: bool = False) -> str:
    """Send a request; sent again until it is answered. An INVITE with more headers begins a dialog anew."""
    kind = "Content-Type: application/sdp\n" if body else ""
    uri = "[next_url]" if method not in ("INVITE", "CANCEL") and not ack else "sip:[service]@[remote_ip]:[remote_port]"
    head = HEAD.replace("[peer_tag_param]", "") if more else HEAD
    more += "[routes]\n" if uri == "[next_url]" else ""
    text = f"{method} {uri} SIP/2.0\n{head}{more}CSeq: {number} {method}\n{kind}Content-Length: [len]\n\n{body}"
    again = "" if method == "ACK" else ' retrans="500"'
    return f"<send{again}><![CDATA[\n{text}\n]]></send>"


def receive(what: str | int, *, optional: bool = False, auth: bool = False, action: str = "") -> str:
    """Expect a status, or a request."""
    is_status = isinstance(what, int) or what.isdecimal()
    kind = f'response="{what}"' if is_status else f'request="{what}"'
    kind += ' rrs="true"' if what == 200 else ""
    more = (' optional="true"' if optional else "") + (' auth="true"' if auth else "")
    return f"<recv {kind}{more}>{action}</recv>"


def has(pattern: str, where: str = "msg") -> str:
    """An action of `receive`: the message has to contain a pattern."""
    return f'<action><ereg regexp="{pattern}" search_in="{where}" check_it="true" assign_to="1"/></action>'


def pause(ms: int) -> str:
    return f'<pause milliseconds="{ms}"/>'


def play(recording: Path, codec: str = "PCMU") -> str:
    """Send a recording in G.711 as RTP."""
    kind, name = CODECS[codec]
    return f'<nop><action><exec rtp_stream="{recording},1,{kind},{name}"/></action></nop>'


def call(*during: str, codecs: str = "PCMU", more: str = "") -> list[str]:
    """The steps of a call that is answered, goes on, and is hung up."""
    return [
        send("INVITE", 1, sdp(codecs), more),
        receive(100, optional=True),
        receive(200),
        send("ACK", 1),
        *during,
        send("BYE", 9),
        receive("200"),
    ]


def answered(*during: str, codecs: str = "PCMU", ring_ms: int = 0) -> list[str]:
    """The steps of a telephone that is called, answers, and waits for BYE."""
    head = "[last_Via:]\n[last_From:]\n[last_Call-ID:]\n[last_CSeq:]\n[last_Record-Route:]\n"
    to = "[last_To:];tag=[pid]y[call_number]\nContact: <sip:bob@[local_ip]:[local_port];transport=[transport]>\n"
    ok = f"SIP/2.0 200 OK\n{head}{to}Content-Type: application/sdp\nContent-Length: [len]\n\n{sdp(codecs)}"
    ringing = f"SIP/2.0 180 Ringing\n{head}{to}Content-Length: 0\n\n"
    bye = f"SIP/2.0 200 OK\n{head}[last_To:]\nContent-Length: 0\n\n"
    return [
        receive("INVITE"),
        f"<send><![CDATA[\n{ringing}\n]]></send>",
        *([pause(ring_ms)] if ring_ms else []),
        f'<send retrans="500"><![CDATA[\n{ok}\n]]></send>',
        receive("ACK"),
        *during,
        receive("BYE"),
        f"<send><![CDATA[\n{bye}\n]]></send>",
    ]


async def run(folder: Path, steps: list[str], target: int | None, *more: str, service: str = "desk") -> tuple[int, str]:
    """Let sipp follow the steps; returns its exit code and what it wrote. Without a target it waits to be called."""
    if shutil.which("sipp") is None:
        missing("sipp")
    folder.mkdir(parents=True, exist_ok=True)
    scenario = folder / "scenario.xml"
    if any("assign_to" in step for step in steps):
        steps = [*steps, '<Reference variables="1"/>']
    scenario.write_text('<?xml version="1.0"?>\n<scenario name="a telephone">\n' + "\n".join(steps) + "\n</scenario>\n")
    where = [f"127.0.0.1:{target}", "-s", service] if target else []
    port = [] if "-p" in more else ["-p", str(free_port())]
    count = [] if "-m" in more else ["-m", "1"]
    command = ["sipp", *where, "-sf", str(scenario), "-i", "127.0.0.1", "-nostdin", *port, *count]
    with (folder / "log").open("w") as log:
        process = await asyncio.create_subprocess_exec(
            *command, "-timeout", "60", "-timeout_error", "-trace_err", *more, stdout=log, stderr=log, cwd=folder
        )
        try:
            code = await asyncio.wait_for(process.wait(), 70)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    errors = "".join(path.read_text() for path in folder.glob("*errors.log"))
    return code, (folder / "log").read_text()[-1_000:] + errors[:3_000]
