"""The hardware, in Amaranth: one component a file, streams between them.

`hwsim.rtl.top.Top` is the module that is simulated and emitted; `hwsim.rtl.core.Core` says how the
blocks are wired.
"""
