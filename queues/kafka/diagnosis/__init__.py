"""What can be wrong between us and a Kafka, from the files of a certificate to the rights of our user."""
