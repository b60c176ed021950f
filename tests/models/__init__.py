"""Tests of vlmchat.models."""
