"""Messages to arrays and back. A message is a claim by a stranger: it is checked before it is believed."""
