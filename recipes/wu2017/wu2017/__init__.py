"""The models of Wu et al. 2017 as families of likelier: `wu2017.vae` and `wu2017.gan`, and their decoders."""
