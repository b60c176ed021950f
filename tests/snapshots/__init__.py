"""Every screen of the chat as it looks, kept as stripped and packed SVG files."""
