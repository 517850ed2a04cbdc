"""Twitter_LDL (Yang et al., AAAI 2017): laid out as Flickr_LDL is."""

from .flickr_ldl import two_forms

two_forms("twitter_ldl")
