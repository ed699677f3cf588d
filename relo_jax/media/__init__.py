"""Images and videos: frames from files, cameras and streams; frames to video files and windows."""
