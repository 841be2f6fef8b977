"""What the operator's own rules and licences say about a play, before its owner's wish is asked."""
