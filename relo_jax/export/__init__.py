"""The tracker outside of JAX: its graphs as ONNX or StableHLO, the driver that runs them, and the page in a browser."""
