#pragma once

#include <string>
#include <string_view>

#include "common/result.h"
#include "coordinator/kube/object.h"

// The directories of claims under a storage class's directory:
//
//   <class>/<namespace>/<claim>/disk.img         made by the agent
//                               .vmferry-claim   the claim's uid: the directory is ours
//
// Everything below <class> is opened without following symbolic links.
namespace vmferry::volumes {

inline constexpr const char* kDiskFile = "disk.img";

// False for names that could leave their directory.
bool is_safe_name(std::string_view name);

std::string claim_path(const std::string& class_path, const kube::ObjectKey& key);

// Makes the directory with its marker. One that an earlier claim of the same name left is emptied
// first. AlreadyExists with VMF-DST-NAME-TAKEN: it is there and not ours; PermissionDenied with
// VMF-DST-UNSAFE: a symbolic link is in the way.
Result<void> make_claim_directory(const std::string& class_path, const kube::ObjectKey& key,
                                  const std::string& uid);

// Removes it, the marker last, so that a removal that was cut short can be repeated. Success when
// it is not there. Without our marker of this uid: AlreadyExists, untouched.
Result<void> remove_claim_directory(const std::string& class_path, const kube::ObjectKey& key,
                                    const std::string& uid);

}  // namespace vmferry::volumes
