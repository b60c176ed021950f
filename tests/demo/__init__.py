"""Tests of vlmchat.demo."""
