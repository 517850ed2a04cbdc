"""Drawn pictures that stand in for the sets: `demo` writes them, `scenes` composes one,
`objects`, `faces` and `styles` are what it is made of, `pen` draws.
"""
