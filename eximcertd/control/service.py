"""org.varlink.service: how a Varlink service describes itself (https://varlink.org/Service). Pure."""

from __future__ import annotations

from typing import Final

from eximcertd import __version__
from eximcertd.control.interface import shipped
from eximcertd.control.protocol import Call, Reply

NAME: Final = "org.varlink.service"
URL: Final = "man:eximcertd(8)"

DESCRIPTION: Final = """\
# The Varlink service interface, which every Varlink service has
interface org.varlink.service

# Who this service is, and the interfaces that it has
method GetInfo() -> (vendor: string, product: string, version: string, url: string, interfaces: []string)

# The definition of one interface
method GetInterfaceDescription(interface: string) -> (description: string)

error InterfaceNotFound (interface: string)
error MethodNotFound (method: string)
error MethodNotImplemented (method: string)
error InvalidParameter (parameter: string)
error PermissionDenied ()
error ExpectedMore ()
"""


def answer(call: Call) -> Reply:
    """Return the reply to a call of org.varlink.service."""
    if call.method == f"{NAME}.GetInfo":
        return Reply(
            {
                "vendor": "eximcertd",
                "product": "eximcertd",
                "version": __version__,
                "url": URL,
                "interfaces": [NAME, shipped().name],
            }
        )
    if call.method == f"{NAME}.GetInterfaceDescription":
        asked = call.parameters.get("interface")
        if not isinstance(asked, str):
            return invalid_parameter("interface")
        texts = {NAME: DESCRIPTION, shipped().name: shipped().text}
        return Reply({"description": texts[asked]}) if asked in texts else no_interface(asked)
    return no_method(call.method)


def no_interface(name: str) -> Reply:
    """Return the reply to a call of an unknown interface."""
    return Reply({"interface": name}, f"{NAME}.InterfaceNotFound")


def no_method(name: str) -> Reply:
    """Return the reply to a call of an unknown method."""
    return Reply({"method": name}, f"{NAME}.MethodNotFound")


def not_implemented(name: str) -> Reply:
    """Return the reply to a call of a method that this program does not implement."""
    return Reply({"method": name}, f"{NAME}.MethodNotImplemented")


def invalid_parameter(name: str) -> Reply:
    """Return the reply to a call whose parameter ``name`` is missing, unknown or of the wrong type."""
    return Reply({"parameter": name}, f"{NAME}.InvalidParameter")


def expected_more() -> Reply:
    """Return the reply to a call without ``more`` of a method that needs it."""
    return Reply({}, f"{NAME}.ExpectedMore")
