#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "common/error.h"

namespace vmferry {

// One entry of the error catalogue: a stable code, its usual cause, and what a person does next.
struct CatalogueEntry {
  std::string_view code;
  std::string_view cause;
  std::string_view remedy;
};

// All codes that an error shown to a person may carry, sorted by code.
std::span<const CatalogueEntry> error_catalogue();

// The entry of `code`; nothing for an unknown or empty one.
std::optional<CatalogueEntry> find_catalogue_entry(std::string_view code);

// The error's text with its code and what to do next, for conditions and events:
// "disk 'boot': no space left [VMF-DST-FULL]; free space or ...".
std::string text_with_remedy(const Error& error);

// The codes, spelled once. Sources (SRC), transfers (XFER), targets (DST), requests (REQ), fleet,
// the cluster (K8S).
namespace code {
inline constexpr std::string_view kSourceUnreachable = "VMF-SRC-UNREACHABLE";
inline constexpr std::string_view kSourceAuth = "VMF-SRC-AUTH";
inline constexpr std::string_view kSourcePrivilege = "VMF-SRC-PRIVILEGE";
inline constexpr std::string_view kSourceTls = "VMF-SRC-TLS";
inline constexpr std::string_view kSourceProtocol = "VMF-SRC-PROTOCOL";
inline constexpr std::string_view kVmNotFound = "VMF-SRC-VM-NOT-FOUND";
inline constexpr std::string_view kVmAmbiguous = "VMF-SRC-VM-AMBIGUOUS";
inline constexpr std::string_view kVmState = "VMF-SRC-VM-STATE";
inline constexpr std::string_view kDiskMissing = "VMF-SRC-DISK-MISSING";
inline constexpr std::string_view kDiskLocked = "VMF-SRC-DISK-LOCKED";
inline constexpr std::string_view kDiskUnsupported = "VMF-SRC-DISK-UNSUPPORTED";
inline constexpr std::string_view kSourceChanged = "VMF-SRC-CHANGED";
inline constexpr std::string_view kNbdkitMissing = "VMF-SRC-NBDKIT-MISSING";
inline constexpr std::string_view kVddkAgent = "VMF-SRC-VDDK-AGENT";
inline constexpr std::string_view kVddkMissing = "VMF-SRC-VDDK-MISSING";
inline constexpr std::string_view kShutdownTimeout = "VMF-SRC-SHUTDOWN-TIMEOUT";
inline constexpr std::string_view kTicketExpired = "VMF-XFER-TICKET-EXPIRED";
inline constexpr std::string_view kSourceRead = "VMF-XFER-SOURCE-READ";
inline constexpr std::string_view kStalled = "VMF-XFER-STALLED";
inline constexpr std::string_view kVerifyFailed = "VMF-XFER-VERIFY-FAILED";
inline constexpr std::string_view kJournalInvalid = "VMF-XFER-JOURNAL-INVALID";
inline constexpr std::string_view kJournalIo = "VMF-XFER-JOURNAL-IO";
inline constexpr std::string_view kAgentLost = "VMF-XFER-AGENT-LOST";
inline constexpr std::string_view kAgentRefused = "VMF-FLEET-AGENT-REFUSED";
inline constexpr std::string_view kNoAgent = "VMF-FLEET-NO-AGENT";
inline constexpr std::string_view kTargetFull = "VMF-DST-FULL";
inline constexpr std::string_view kTargetIo = "VMF-DST-IO";
inline constexpr std::string_view kTargetTooSmall = "VMF-DST-TOO-SMALL";
inline constexpr std::string_view kTargetBusy = "VMF-DST-BUSY";
inline constexpr std::string_view kTargetUnsafe = "VMF-DST-UNSAFE";
inline constexpr std::string_view kTargetNotMounted = "VMF-DST-NOT-MOUNTED";
inline constexpr std::string_view kTargetDenied = "VMF-DST-DENIED";
inline constexpr std::string_view kTargetOwner = "VMF-DST-OWNER";
inline constexpr std::string_view kHolderRefused = "VMF-DST-HOLDER-REFUSED";
inline constexpr std::string_view kAdoption = "VMF-DST-ADOPTION";
inline constexpr std::string_view kNameTaken = "VMF-DST-NAME-TAKEN";
inline constexpr std::string_view kStorageClass = "VMF-DST-STORAGE-CLASS";
inline constexpr std::string_view kSecretMissing = "VMF-REQ-SECRET-MISSING";
inline constexpr std::string_view kSecretInvalid = "VMF-REQ-SECRET-INVALID";
inline constexpr std::string_view kMappingMissing = "VMF-REQ-MAPPING-MISSING";
inline constexpr std::string_view kBlocked = "VMF-REQ-BLOCKED";
inline constexpr std::string_view kTemplate = "VMF-REQ-TEMPLATE";
inline constexpr std::string_view kManifest = "VMF-REQ-MANIFEST";
inline constexpr std::string_view kObjectNotFound = "VMF-REQ-NOT-FOUND";
inline constexpr std::string_view kApiMissing = "VMF-K8S-API-MISSING";
inline constexpr std::string_view kSchema = "VMF-K8S-CRD";
inline constexpr std::string_view kClusterUnreachable = "VMF-K8S-UNREACHABLE";
inline constexpr std::string_view kClusterTls = "VMF-K8S-TLS";
inline constexpr std::string_view kClusterCredentials = "VMF-K8S-CREDENTIALS";
inline constexpr std::string_view kForbidden = "VMF-K8S-FORBIDDEN";
inline constexpr std::string_view kQuota = "VMF-K8S-QUOTA";
inline constexpr std::string_view kWebhook = "VMF-K8S-WEBHOOK";
inline constexpr std::string_view kPodSecurity = "VMF-K8S-POD-SECURITY";
}  // namespace code

}  // namespace vmferry
