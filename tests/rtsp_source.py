"""Cameras for the tests, served over RTSP by GStreamer. Run by the system's Python, which has its bindings.

``/camera`` sends H.264 with B-frames and AAC, ``/phone`` H.264 and G.711. Both are for the user ``camera`` with
the password ``Word-0123456789`` only, who proves it by digest.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

PICTURE = (
    "videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=25/1 "
    "! x264enc bframes=2 b-adapt=false key-int-max=25 speed-preset=superfast threads=1 "
    "! video/x-h264,profile=main ! rtph264pay name=pay0 pt=96 config-interval=-1 "
)
TONE = "audiotestsrc is-live=true volume=0.5 ! audio/x-raw,rate={rate},channels=1 ! "
AAC = TONE.format(rate=48000) + "voaacenc ! rtpmp4gpay name=pay1 pt=97 "
G711 = TONE.format(rate=8000) + "alawenc ! rtppcmapay name=pay1 pt=8 "
NEEDED = ("x264enc", "voaacenc", "alawenc", "rtph264pay")


def camera(launch):
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(f"( {launch})")
    factory.set_shared(True)
    role = Gst.Structure.new_empty("user")
    for right in ("media.factory.access", "media.factory.construct"):
        role.set_value(right, True)
    factory.add_role_from_structure(role)
    return factory


def main():
    Gst.init(None)
    if sys.argv[1] == "--check":
        sys.exit(0 if all(map(Gst.ElementFactory.find, NEEDED)) else 1)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(sys.argv[1])
    auth, user = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    user.set_string("media.factory.role", "user")
    auth.add_digest("camera", "Word-0123456789", user)
    server.set_auth(auth)
    mounts = server.get_mount_points()
    mounts.add_factory("/camera", camera(PICTURE + AAC))
    mounts.add_factory("/phone", camera(PICTURE + G711))
    server.attach(None)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
