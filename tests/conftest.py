"""What tests of every kind may ask for."""

from tests.kafka.fixtures import clusters as clusters
from tests.kafka.fixtures import kafka as kafka
from tests.kafka.fixtures import secured as secured
from tests.postgresql.fixtures import postgresql as postgresql
from tests.postgresql.fixtures import postgresql_url as postgresql_url
from tests.postgresql.fixtures import servers as servers
