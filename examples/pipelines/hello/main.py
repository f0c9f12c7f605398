"""Says hello. The parameter `who` arrives as an environment variable."""

import os
import platform

print(f"hello, {os.environ.get('who', 'world')}")
print(f"this is Python {platform.python_version()}")
