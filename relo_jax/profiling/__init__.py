"""What a frame of tracking and a training clip cost on this machine."""
