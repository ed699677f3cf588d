"""Pictures and videos: frames in from files, cameras and streams; frames out to films and windows."""
