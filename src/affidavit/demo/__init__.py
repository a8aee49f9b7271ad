"""The demonstration: a real database, a model, and an application that uses both.

Nothing here is needed to record calls, and nothing here is imported by the rest of the
package. The servers in this package listen on 127.0.0.1 only.
"""
