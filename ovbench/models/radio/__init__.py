"""RADIO, one vision transformer that was taught by several, and its heads in their spaces."""
