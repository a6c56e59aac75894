"""The API's protocol: parameters, routes, keys, versions, HTTP."""
