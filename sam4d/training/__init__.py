"""Learning from corrected masklets: samples, simulated interaction, losses, the trainer, and how old and new are compared."""
