"""The widgets of the chat screen. They draw and forward; they decide nothing."""
