"""What people do to lines of a transcript, and how it outlives every later machine run; pure."""
