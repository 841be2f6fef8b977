"""What was heard, told afterwards: of one stream when it is over, of many by the day."""
