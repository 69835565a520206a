"""`rtsr tray`."""

from __future__ import annotations

from . import app, fail
from .live import SocketPath


@app.command()
def tray(socket: SocketPath = None) -> None:
    """Show an icon in the desktop's tray that steers a running `rtsr live`: bypass, mute, level, stop.

    It is grey while none runs, and finds one that starts later. With PyGObject it has a menu. Without, the left
    button of the mouse switches bypass, the middle one mute, and the wheel sets the level. Ctrl-C ends it.

    Examples:

        rtsr tray

        rtsr tray --socket /run/user/1000/other.sock
    """
    from ..daemon.control import default_socket
    from ..daemon.tray_icon import run

    run(socket or default_socket(), fail)
