"""The client's side of the protocol; needs PyNaCl and urllib3, and none of the server's packages."""
