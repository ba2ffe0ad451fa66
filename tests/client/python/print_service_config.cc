// usage: print_service_config RETRY BALANCE
// Prints the C++ client's service config for these, each 0 or 1, with which the Python client's is compared.

#include <iostream>
#include <string_view>

#include "client/service_config.h"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  std::cout << kldiv::internal::ServiceConfig(argv[1] == std::string_view("1"),
                                              argv[2] == std::string_view("1"));
}
