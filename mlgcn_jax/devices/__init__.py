"""The chips that compute, and the compiler that programs them."""
