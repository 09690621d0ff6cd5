"""The methods of XML-RPC, by namespace and subject."""
