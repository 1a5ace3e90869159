"""What results say: whether numbers changed, whether claims hold, and why two numbers differ. Torch-free and pure."""
