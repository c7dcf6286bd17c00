"""The contract classes that every engine passes, shipped so that outside engines can pass them too."""
