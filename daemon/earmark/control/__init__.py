"""Which streams should I be listening to?"""
