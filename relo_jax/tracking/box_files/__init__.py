"""Files of boxes that other tools read and write: MOT, COCO-VID, CVAT and CSV; see docs/boxes.md."""
