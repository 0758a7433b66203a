"""The battery that every potential, backbone, head, exchange and term goes through: eqff's own and yours.

Needs pytest (``pip install eqff[test]``). One subclass in a test file puts a part through it; see
`eqff.testing.battery`. A project that uses strict markers registers ``slow``, the mark of the checks that compile.
"""
