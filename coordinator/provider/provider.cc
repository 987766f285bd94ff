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

}  // namespace vmferry
