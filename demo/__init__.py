"""The app: a picture, a voice and a feeling go in, a film comes out."""
