"""Text becomes speech, in a voice and with a feeling."""
