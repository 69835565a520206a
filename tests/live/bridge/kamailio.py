"""kamailio as registrar and proxy: it asks for passwords, keeps where telephones are, and stays in the path.

With rtpengine beside it, media take a way through that too, and the bridge's side is SRTP.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from tests.live.bridge.sipp import free_port
from tests.speech import missing

CONFIG = """
debug=2
log_stderror=yes
fork=no
children=2
listen=udp:127.0.0.1:PORT
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules:/usr/lib/aarch64-linux-gnu/kamailio/modules"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
modparam("usrloc", "db_mode", 0)
MEDIA_MODULE
request_route {
    if (!mf_process_maxfwd_header("10")) { sl_send_reply("483", "Too Many Hops"); exit; }
    if (is_method("REGISTER")) {
        if (!pv_auth_check("127.0.0.1", "SECRET", "0", "1")) { auth_challenge("127.0.0.1", "1"); exit; }
        save("location");
        exit;
    }
    if (has_totag()) {
        if (loose_route()) { MEDIA_CHANGE t_relay(); exit; }
        if (is_method("ACK")) { if (t_check_trans()) { t_relay(); } exit; }
        sl_send_reply("404", "Not here");
        exit;
    }
    if (is_method("CANCEL")) { if (t_check_trans()) { t_relay(); } exit; }
    if (!is_method("INVITE")) { sl_send_reply("405", "Method Not Allowed"); exit; }
    record_route();
    if (!lookup("location")) { sl_send_reply("404", "Not Found"); exit; }
    MEDIA_BEGIN
    t_relay();
}
MEDIA_REPLY
"""
NO_MEDIA = dict.fromkeys(("MEDIA_MODULE", "MEDIA_CHANGE", "MEDIA_BEGIN", "MEDIA_REPLY"), "")
MEDIA = {
    "MEDIA_MODULE": """
loadmodule "rtpengine.so"
modparam("rtpengine", "rtpengine_sock", "udp:127.0.0.1:CONTROL")
""",
    "MEDIA_CHANGE": 'if (is_method("BYE")) { rtpengine_delete(); }',
    "MEDIA_BEGIN": """
    if ($oU == "room") { rtpengine_offer("replace-origin replace-session-connection RTP/SAVP"); }
    else { rtpengine_offer("replace-origin replace-session-connection RTP/AVP"); }
    t_on_reply("MEDIA");
""",
    "MEDIA_REPLY": """
onreply_route[MEDIA] {
    if (t_check_status("200") && has_body("application/sdp")) {
        rtpengine_answer("replace-origin replace-session-connection");
    }
}
""",
}


class Proxy:
    """A running kamailio whose every account has one password."""

    def __init__(self, folder: Path, password: str, control: int | None = None) -> None:
        """`control` is the port of an rtpengine."""
        if shutil.which("kamailio") is None:
            missing("kamailio")
        self.port = free_port()
        config, text = folder / "kamailio.cfg", CONFIG
        for name, part in (MEDIA if control else NO_MEDIA).items():
            text = text.replace(name, part.replace("CONTROL", str(control)))
        config.write_text(text.replace("PORT", str(self.port)).replace("SECRET", password))
        self.log = folder / "kamailio.log"
        command = ["kamailio", "-DD", "-E", "-f", str(config), "-Y", str(folder), "-P", str(folder / "pid"), "-m", "32"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, start_new_session=True)

    def stop(self) -> None:
        """End it and its children, which end with it."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            time.sleep(0.1)
