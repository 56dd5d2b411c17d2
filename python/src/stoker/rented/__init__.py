"""Rented machines, decided: pure functions over rows of the store, the provider's answers and the settings.

No clock, no I/O, no randomness; what they decide is carried out elsewhere, one step and one transaction at a time.
`lifecycle` says what comes next for an instance, `offers` which machine to rent, `cost` what it came to, `budget`
whether it may be, `bids` what a bid should be, `reap` what is billed and should not be.
"""
