"""The event loop of tests whose time is virtual."""

from forebay.processors.virtual_time import VirtualLoop as VirtualLoop
