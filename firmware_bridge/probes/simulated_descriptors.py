"""The USB descriptors of a ``usb:`` probe, as pyusb asks a back-end for them."""

from types import SimpleNamespace

from firmware_bridge.probes.wire import ENDPOINT, PRODUCT_ID, VENDOR_ID

PACKET_BYTES = 512  # bulk, high speed
_LANGUAGES = b"\x04\x03\x09\x04"  # string 0: English


def device(address: int) -> SimpleNamespace:
    """Device descriptor and place on the bus."""
    return SimpleNamespace(
        bLength=18,
        bDescriptorType=1,
        bcdUSB=0x0200,
        bDeviceClass=0xFF,
        bDeviceSubClass=0,
        bDeviceProtocol=0,
        bMaxPacketSize0=64,
        idVendor=VENDOR_ID,
        idProduct=PRODUCT_ID,
        bcdDevice=0x0100,
        iManufacturer=1,
        iProduct=2,
        iSerialNumber=3,
        bNumConfigurations=1,
        bus=1,
        address=address,
        port_number=1,
        port_numbers=(1,),
        speed=3,
    )


CONFIGURATION = SimpleNamespace(
    bLength=9,
    bDescriptorType=2,
    wTotalLength=25,
    bNumInterfaces=1,
    bConfigurationValue=1,
    iConfiguration=0,
    bmAttributes=0x80,
    bMaxPower=250,
    extra_descriptors=[],
)
INTERFACE = SimpleNamespace(
    bLength=9,
    bDescriptorType=4,
    bInterfaceNumber=0,
    bAlternateSetting=0,
    bNumEndpoints=1,
    bInterfaceClass=0xFF,
    bInterfaceSubClass=0,
    bInterfaceProtocol=0,
    iInterface=0,
    extra_descriptors=[],
)
BULK_IN = SimpleNamespace(
    bLength=7,
    bDescriptorType=5,
    bEndpointAddress=ENDPOINT,
    bmAttributes=2,
    wMaxPacketSize=PACKET_BYTES,
    bInterval=0,
    bRefresh=0,
    bSynchAddress=0,
    extra_descriptors=[],
)


def string(index: int, serial: str) -> bytes | None:
    """String descriptor, or None: there is no such string."""
    if index == 0:
        return _LANGUAGES
    texts = ("Sonomyo", "Simulated ultrasound probe", serial)
    if index > len(texts):
        return None
    text = texts[index - 1].encode("utf-16-le")
    return bytes([2 + len(text), 3]) + text
