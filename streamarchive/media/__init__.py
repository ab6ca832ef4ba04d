"""ffmpeg and everything that touches media files."""
