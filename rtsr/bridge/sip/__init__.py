"""SIP: telephones, PBXs and trunks call into rooms, and are called from them (RFC 3261). `agent.py` is the one to open.

Signalling only: the audio of a SIP call is an RTP leg like those by request, see `rtp_legs.py`. The signalling is our
own. `aiosipua` 0.7.1, the one kept library for asyncio, was tried: it sends no request again over UDP, has no TLS and
no authentication of callers, finds a call by its Call-ID alone, and bounds neither transactions nor connections.
"""
