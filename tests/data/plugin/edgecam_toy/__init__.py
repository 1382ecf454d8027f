"""A plugin of edgecam that brings one of each: a decoder, a rule, a source and a sink."""
