//! Each rule with the bytes that break it. That the formats are the libraries' own is
//! held by `tests/python/test_exchange.py`.
