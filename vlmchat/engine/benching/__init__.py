"""What ``vlmchat bench`` measures, in processes of its own."""
