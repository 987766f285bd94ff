#include "coordinator/provider/provider.h"

namespace vmferry {

Result<std::unique_ptr<Provider>> make_provider(const ProviderCredentials& credentials,
                                                const Logger& log) {
  switch (credentials.kind) {
    case ProviderKind::Ovirt:
      return make_ovirt_provider(credentials, log);
    case ProviderKind::Vmware:
      return make_vmware_provider(credentials, log);
  }
  return make_error(ErrorKind::Internal, "no provider of kind {}",
                    static_cast<int>(credentials.kind));
}

Result<Listing> Provider::list(ListingKind kind, std::stop_token) {
  return make_error(ErrorKind::InvalidArgument, "a {} source has no {}", to_string(this->kind()),
                    to_string(kind));
}

Result<WayChoice> Provider::choose_way(const SourceVm&, const SourceDisk&, bool, std::stop_token) {
  return WayChoice{};
}

void Provider::report_progress(const std::string&, int) {}

void Provider::keep_open(const std::string&, std::stop_token) {}

Result<std::vector<std::pair<std::string, std::string>>> Provider::disk_identity(const SourceVm&,
                                                                                 const SourceDisk&,
                                                                                 std::stop_token) {
  return std::vector<std::pair<std::string, std::string>>{};
}

}  // namespace vmferry
