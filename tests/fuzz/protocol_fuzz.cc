#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/check.h"
#include "common/protocol.h"

// Any bytes from a peer: an error, or a message that encodes to the same message again.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vmferry;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const Result<protocol::Message> message = protocol::decode(bytes);
  if (!message) return 0;
  const Result<protocol::Message> again = protocol::decode(protocol::encode(*message));
  VMFERRY_CHECK(again.ok());
  VMFERRY_CHECK(*again == *message);
  return 0;
}
